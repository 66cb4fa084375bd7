"""The persona library: YAML data and the loader that checks it. Knows nothing of models, storage or the page."""

from personas.library import Persona, PersonaError, load_library

__all__ = ["Persona", "PersonaError", "load_library"]

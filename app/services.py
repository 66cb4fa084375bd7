"""Puts the parts together: settings -> store, model, worker, use cases. The page, the API and the command line share this."""

from dataclasses import dataclass

from app.catalogue import Catalogue
from app.compare import Compare
from app.decoding.engine import Engine
from app.embedding import Embedder
from app.judges import Judges
from app.label import Label
from app.learn import Learn
from app.manage_versions import ManageVersions
from app.model import LanguageModel
from app.online import Online
from app.refresh.adapters import AdapterFolder
from app.rounds import Rounds
from app.serving import Serving
from app.settings import Settings
from app.share import Share
from app.sweep import Sweep
from app.upload_version import UploadVersion
from app.versions import Versions
from app.worker import Worker
from personas import load_library
from storage.store import Store


@dataclass(frozen=True)
class Services:
    """Everything that a front end needs."""

    settings: Settings
    store: Store
    catalogue: Catalogue
    model: LanguageModel
    worker: Worker
    serving: Serving
    compare: Compare
    label: Label
    learn: Learn
    rounds: Rounds
    judges: Judges
    online: Online
    versions: Versions
    manage: ManageVersions
    upload: UploadVersion
    share: Share
    sweep: Sweep


def build(settings: Settings, model_name: str | None = None) -> Services:
    """Opens the data folder, loads the model and wires the use cases.

    Args:
        settings: from the environment.
        model_name: in place of the settings' model.

    Raises:
        StorageError, ModelError, PersonaError: as the parts say.
    """
    store = Store(settings.data)
    embedder = Embedder(settings.embedder)
    catalogue = Catalogue(load_library(), store, embedder)
    adapters = AdapterFolder(settings.data / "adapters")
    worker = Worker()
    model = worker.call(lambda: LanguageModel.load(model_name or settings.model, settings.device, settings.dtype))
    versions = Versions(model, store, adapters)
    room = settings.cache_mb * 2**20 // model.cache_bytes_per_token
    serving = Serving(Engine(model.forward_with, model.device, model.joins, room), worker)
    compare = Compare(model, serving, store, catalogue, versions)
    learn = Learn(model, worker, store, versions, settings.admin_token)
    return Services(
        settings=settings,
        store=store,
        catalogue=catalogue,
        model=model,
        worker=worker,
        serving=serving,
        compare=compare,
        label=Label(store),
        learn=learn,
        rounds=Rounds(store, embedder, learn.authorise),
        judges=Judges(model, embedder, settings),
        online=Online(model, worker, store, versions, catalogue),
        versions=versions,
        manage=ManageVersions(store, adapters, learn.authorise),
        upload=UploadVersion(model, worker, store, adapters, learn.authorise),
        share=Share(store),
        sweep=Sweep(model, worker, compare),
    )

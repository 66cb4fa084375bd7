"""Puts the parts together: settings -> store, model, worker, use cases. The page, the API and the command line share this."""

from dataclasses import dataclass

from app.catalogue import Catalogue
from app.compare import Compare
from app.consent import read_consent
from app.data import Data
from app.decoding.engine import Engine
from app.embedding import Embedder
from app.hub import Sync
from app.import_pairs import ImportPairs
from app.insights_report import Insights
from app.judges import Judges
from app.label import Label
from app.learn import Learn
from app.manage_versions import ManageVersions
from app.model import LanguageModel
from app.online import Online
from app.raters import Raters
from app.refresh.adapters import AdapterFolder
from app.rounds import Rounds
from app.serving import Serving
from app.settings import Settings
from app.share import Share
from app.studies import Studies
from app.sweep import Sweep
from app.upload_version import UploadVersion
from app.versions import Versions
from app.visits import Visits
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
    sync: Sync
    raters: Raters
    studies: Studies
    visits: Visits
    data: Data
    imports: ImportPairs
    insights: Insights
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
    consent = read_consent(settings.consent)
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
    raters = Raters(store, settings.data, consent)
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
        sync=Sync.of(settings, store.database),
        raters=raters,
        studies=Studies(store, catalogue, versions, embedder, compare, serving, raters, learn.authorise),
        visits=Visits(store),
        data=Data(store, learn.authorise),
        imports=ImportPairs(store, learn.authorise),
        insights=Insights(store, learn.authorise),
        share=Share(store),
        sweep=Sweep(model, worker, compare),
    )

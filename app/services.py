"""Puts the parts together: settings -> store, model, worker, use cases. The page, the API and the command line share this."""

from dataclasses import dataclass
from functools import partial

from app.authority import Authority
from app.bans import Bans
from app.catalogue import Catalogue
from app.compare import Compare, Comparison
from app.consent import read_consent
from app.data import Data
from app.decoding.engine import Engine
from app.embedding import Embedder
from app.gauges import Meter
from app.hub import Sync
from app.import_pairs import ImportPairs
from app.insights_report import Insights
from app.judges import Judges
from app.label import Label
from app.learn import Learn
from app.learned import Learned
from app.limits import Limits
from app.log_tail import LogTail
from app.manage_versions import ManageVersions, remove_deleted
from app.model import LanguageModel
from app.models import Models
from app.online import Online
from app.owner import Owner
from app.persona_offers import PersonaOffers
from app.private_refresh import PrivateRefresh
from app.raters import Raters
from app.refresh.adapters import AdapterFolder
from app.repairs import repairs
from app.rounds import Rounds
from app.serving import Serving
from app.settings import Settings
from app.share import Share
from app.studies import Studies
from app.sweep import Sweep
from app.upload_version import UploadVersion
from app.versions import Versions
from app.versus import Duel, Versus
from app.visits import Visits
from app.worker import Worker
from app.zero_gpu import LentServing, LentWorker, is_lent
from personas import load_library
from storage.store import Store


@dataclass
class Services:
    """Everything that a front end needs. With another model most of it is replaced: ask for a use case at every call.

    repairs: what this start found amiss in the data folder, in sentences.
    """

    settings: Settings
    store: Store
    catalogue: Catalogue
    model: LanguageModel
    worker: Worker
    serving: Serving
    compare: Compare
    label: Label
    learn: Learn
    learned: Learned
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
    versus: Versus
    models: Models
    offers: PersonaOffers
    repairs: tuple[str, ...]
    limits: Limits
    authority: Authority
    owner: Owner
    bans: Bans
    private: PrivateRefresh
    log: LogTail


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
    worker = LentWorker() if is_lent() else Worker()
    load = partial(LanguageModel.load, model_name or settings.model, settings.device, settings.dtype)
    model = load() if is_lent() else worker.call(load)  # what is lent moves models that were loaded on the main thread
    authority = Authority(settings.admin_token, settings.space_id, settings.space_author_name)
    raters = Raters(store, settings.data, consent, partial(remove_deleted, store, adapters))
    sync, log = Sync.of(settings, store.database), LogTail(settings.secrets())
    limits = Limits(settings.limits, authority.authorise)
    running: dict[str, Comparison] = {}
    manage = ManageVersions(store, adapters, authority.authorise)
    found = repairs(store, adapters, manage)  # of this start, not of a change of models
    duels: dict[str, Duel] = {}

    # What knows the model, and what knows that: made anew for every model. State that has to outlive one is made above.
    def around(model: LanguageModel, models: Models) -> Services:
        versions = Versions(model, store, adapters)
        room = settings.cache_mb * 2**20 // model.cache_bytes_per_token
        engine = partial(Engine, model.forward_with, model.device, model.joins, room)
        serving = LentServing(engine, worker) if is_lent() else Serving(engine(), worker)
        compare = Compare(model, serving, store, catalogue, versions, running)
        learn = Learn(model, worker, store, versions, embedder, authority, settings.rater_share)
        meter = Meter(model, serving, store, sync, settings.data, settings.cache_mb)
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
            learned=Learned(model, worker, store),
            rounds=Rounds(store, embedder, learn.authorise),
            judges=Judges(model, embedder, settings),
            online=Online(model, worker, store, versions, catalogue),
            versions=versions,
            manage=manage,
            upload=UploadVersion(model, worker, store, adapters, learn.authorise),
            sync=sync,
            raters=raters,
            studies=Studies(store, catalogue, versions, embedder, compare, serving, raters, learn.authorise),
            visits=Visits(store),
            data=Data(store, learn.authorise),
            imports=ImportPairs(store, learn.authorise),
            insights=Insights(store, learn.authorise),
            share=Share(store),
            sweep=Sweep(model, worker, compare),
            versus=Versus(compare, store, duels),
            models=models,
            offers=PersonaOffers(store, learn.authorise),
            repairs=found,
            limits=limits,
            authority=authority,
            owner=Owner(authority, store, learn, meter, log),
            bans=Bans(store, learn.authorise),
            private=PrivateRefresh(store, versions, learn),
            log=log,
        )

    def change(model: LanguageModel) -> None:
        old = services.studies
        vars(services).update(vars(around(model, services.models)))
        if old.rest():
            services.studies.prepare()

    models = Models(settings, worker, lambda: services.model, authority.authorise, change)
    services = around(model, models)
    if is_lent():
        worker.knows(**vars(services))
    return services

"""The memory provider: opens banks as they are registered, and clears away what has expired."""

import asyncio

import structlog
from pydantic import BaseModel

from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from services.core.errors import CaravanError, FailedPreconditionError, InvalidArgumentError
from services.core.gateway import Gateway
from services.core.provider import Provider, ResourceKind
from services.core.readiness import Readiness
from services.memory.banks import Bank, BankTable, embedding_model_of, spec_of, window_of
from services.memory.embedding import InferenceEmbedder
from services.memory.extraction.extractor import Extractor
from services.memory.graph.extraction import Extraction
from services.memory.ports import EmbeddingModel, Store
from services.memory.records import BankKind, BankSpec
from services.memory.tokenizers import Tokenizers

MEMORY = "caravan.memory.v1.MemoryService"
KEY_VALUE = "caravan.memory.v1.KeyValueService"
GRAPH = "caravan.memory.v1.GraphService"
VECTOR_IO = "caravan.memory.v1.VectorIOService"
RAG_TOOL = "caravan.memory.v1.RagToolService"
_PURGED_AT_ONCE = 500

_log = structlog.get_logger(__name__)


class MemoryProvider(Provider):
    """Banks in one store."""

    def __init__(  # noqa: PLR0913 - what the composition root has made
        self,
        provider_id: str,
        config: BaseModel,
        *,
        provider_type: str,
        services: tuple[str, ...],
        store: Store,
        banks: BankTable,
        embedder: InferenceEmbedder,
        tokenizers: Tokenizers,
        extractor: Extractor,
        extraction: Extraction,
        gateway: Gateway,
        readiness: Readiness,
        purge_seconds: float,
    ) -> None:
        """Prepares the provider; `start` opens the store.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: Configuration of the store.
            provider_type: Kind of the provider.
            services: Full names of the services that the process serves.
            store: Where the banks are kept.
            banks: The banks that are open.
            embedder: Tells about embedding models.
            tokenizers: Finds tokenizers.
            extractor: Extracts text.
            extraction: Checks models that are to extract entities.
            gateway: The way to other services.
            readiness: Tells whether the store answers.
            purge_seconds: Seconds between two deletions of what has expired.
        """
        super().__init__(provider_id=provider_id, provider_type=provider_type, services=services, config=config)
        self.readiness = readiness
        self.loadable_kinds = (options_pb2.RESOURCE_KIND_MEMORY_BANK,)
        self._store = store
        self._banks = banks
        self._embedder = embedder
        self._tokenizers = tokenizers
        self._extractor = extractor
        self._extraction = extraction
        self._gateway = gateway
        self._purge_seconds = purge_seconds
        self._purging: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the store.

        Raises:
            CaravanError: It cannot be opened.
        """
        await self._store.start()
        await self._extractor.start()
        self._purging = asyncio.create_task(self._purge())

    async def stop(self) -> None:
        """Closes the store, and ends what runs beside it."""
        if self._purging is not None:
            self._purging.cancel()
            await asyncio.gather(self._purging, return_exceptions=True)
        await self._embedder.close()
        await self._extractor.close()
        await self._gateway.close()
        await self._store.stop()

    async def load(self, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        """Opens a bank, which is made when it is not there.

        Raises:
            InvalidArgumentError: The parameters do not fit each other or the model.
            FailedPreconditionError: The embedding or the extraction model is unknown or unfit, or the bank is there and different.
            UnavailableError: The gateway, the embedding model or the store does not answer.
        """
        registered = resource.memory_bank
        store_id = registered.provider_memory_bank_id or registered.memory_bank_id
        self._check_free(registered.memory_bank_id, store_id)
        kind = BankKind(registered.params.WhichOneof("params"))
        model_id = embedding_model_of(registered.params)
        model = await self._embedder.describe(model_id) if model_id else None
        if registered.params.graph.extraction_model:
            await self._extraction.check(registered.params.graph.extraction_model)
        spec = spec_of(store_id, registered.params, model)
        await self._check_dimension(model, spec)
        tokenizer = await self._tokenizers.of_model(model)
        await self._store.open_bank(spec)
        ttl = registered.default_ttl.ToNanoseconds() / 1e9 if registered.HasField("default_ttl") else None
        self._banks.add(Bank(registered.memory_bank_id, spec, ttl, model, tokenizer, window_of(spec)))
        _log.info("bank_opened", bank=registered.memory_bank_id, kind=kind.value, tokenizer=tokenizer.name)
        loaded = providers_pb2.Resource()
        loaded.CopyFrom(resource)
        loaded.memory_bank.params.CopyFrom(spec.params)
        return loaded

    async def unload(self, kind: ResourceKind, resource_id: str) -> None:
        """Closes a bank; what is in it stays."""
        del kind
        bank = self._banks.remove(resource_id)
        if bank is not None:
            await self._store.close_bank(bank.store_id)

    async def discard(self, resource: providers_pb2.Resource) -> None:
        """Deletes a bank with everything in it: its user has unregistered it."""
        registered = resource.memory_bank
        self._banks.remove(registered.memory_bank_id)
        await self._store.drop_bank(registered.provider_memory_bank_id or registered.memory_bank_id)
        _log.info("bank_dropped", bank=registered.memory_bank_id)

    def _check_free(self, bank_id: str, store_id: str) -> None:
        """Two names for one bank would drop each other's documents."""
        taken = next((bank for bank in self._banks if bank.store_id == store_id and bank.bank_id != bank_id), None)
        if taken is not None:
            message = (
                f"provider_memory_bank_id {store_id!r} is the registered memory bank {taken.bank_id!r}: "
                "use that, or choose another identifier"
            )
            raise FailedPreconditionError(message, reason="BANK_TAKEN")

    async def _check_dimension(self, model: EmbeddingModel | None, spec: BankSpec) -> None:
        """Asks a model that shall give shorter vectors than its own for one: not every model can."""
        if model is None or spec.dimension in (None, model.dimension):
            return
        try:
            await self._embedder.embed(model, spec.dimension, ["dimension"])
        except (InvalidArgumentError, FailedPreconditionError) as error:
            description = (
                f"is {spec.dimension} and the vectors of {model.model_id!r} have {model.dimension}: {error.message}"
            )
            raise InvalidArgumentError.of(
                "params.vector.embedding_dimension", description, reason="WRONG_DIMENSION"
            ) from error

    async def _purge(self) -> None:
        """Deletes what has expired, in small portions, so that nobody waits long."""
        while True:
            await asyncio.sleep(self._purge_seconds)
            for bank in self._banks:
                try:
                    purged = _PURGED_AT_ONCE
                    while purged >= _PURGED_AT_ONCE:
                        purged = await self._store.purge(bank.store_id, _PURGED_AT_ONCE)
                except CaravanError as error:
                    _log.warning("purge_failed", bank=bank.bank_id, why=error.message)

"""Composition root of the memory service."""

from caravan.memory.v1 import graph_pb2_grpc, keyvalue_pb2_grpc, memory_pb2_grpc, rag_tool_pb2_grpc, vector_io_pb2_grpc
from services.core.gateway import Gateway
from services.core.readiness import Readiness
from services.core.server import Binding, ServiceServer
from services.memory.bank_queries import BankQueries
from services.memory.banks import BankTable
from services.memory.changes import Changes
from services.memory.chunks import Chunks
from services.memory.documents import Documents
from services.memory.embedding import InferenceEmbedder
from services.memory.extraction.extractor import Extractor
from services.memory.graph.exploring import Exploring
from services.memory.graph.extraction import Extraction
from services.memory.graph.graphs import Graphs
from services.memory.graph.knowledge import GraphKnowledge
from services.memory.graph.networks import Networks
from services.memory.graph.retrieval import Retrieval
from services.memory.graph_servicer import GraphServicer
from services.memory.idempotency import Once
from services.memory.keyvalue import Values
from services.memory.ports import Store
from services.memory.preparation import Preparation
from services.memory.provider import GRAPH, KEY_VALUE, MEMORY, RAG_TOOL, VECTOR_IO, MemoryProvider
from services.memory.queries import Queries
from services.memory.query_generators import QueryGenerators
from services.memory.rag import RagTool
from services.memory.reranking import Reranker
from services.memory.responses import Responses
from services.memory.servicer import (
    BulkParts,
    KeyValueServicer,
    MemoryServicer,
    RagToolServicer,
    VectorIOServicer,
)
from services.memory.settings import MemorySettings
from services.memory.sources import Sources
from services.memory.telemetry import observe_banks
from services.memory.tokenizers import Tokenizers


def build(settings: MemorySettings) -> ServiceServer:
    """Builds the server of one replica.

    Args:
        settings: Which provider it is, and how it is served.
    """
    gateway = Gateway(settings.gateway)
    readiness = Readiness()
    store = make_store(settings, readiness)
    banks = BankTable()
    observe_banks(banks)
    embedder = InferenceEmbedder(gateway, settings.embedding)
    limits = settings.documents
    extractor = Extractor(limits.extraction_workers, limits.extraction_seconds, limits.extraction_memory_bytes)
    networks = Networks(store)
    retrieval = Retrieval(store, embedder, networks)
    extraction = Extraction(gateway)
    knowledge = GraphKnowledge(store, embedder, extraction, retrieval)
    changes = Changes(Sources(limits), Preparation(extractor, embedder, knowledge))
    once = Once(store)
    responses = Responses(settings.max_send_bytes)
    documents = Documents(store, changes, once, responses)
    reranker = Reranker(gateway, embedder)
    queries = Queries(store, embedder, reranker, knowledge)
    bank_queries = BankQueries(banks, queries, gateway)
    rag = RagTool(banks, documents, bank_queries, QueryGenerators(gateway, limits.fetch_limits))
    memory = MemoryServicer(
        banks, documents, queries, bank_queries, responses, BulkParts(store, changes, settings.bulk, limits.max_bytes)
    )
    chunks = VectorIOServicer(banks, Chunks(store, embedder, once), queries, responses)
    values = KeyValueServicer(banks, Values(store, once, responses))
    exploring = Exploring(store, embedder, reranker, networks, retrieval, knowledge)
    graphs = GraphServicer(banks, Graphs(store, embedder, once, responses), exploring, responses)
    bindings = [
        Binding(MEMORY, memory_pb2_grpc.add_MemoryServiceServicer_to_server, memory),
        Binding(VECTOR_IO, vector_io_pb2_grpc.add_VectorIOServiceServicer_to_server, chunks),
        Binding(KEY_VALUE, keyvalue_pb2_grpc.add_KeyValueServiceServicer_to_server, values),
        Binding(GRAPH, graph_pb2_grpc.add_GraphServiceServicer_to_server, graphs),
        Binding(RAG_TOOL, rag_tool_pb2_grpc.add_RagToolServiceServicer_to_server, RagToolServicer(rag)),
    ]
    provider = MemoryProvider(
        settings.provider_id,
        settings.provider,
        provider_type=settings.provider.type,
        services=tuple(binding.name for binding in bindings),
        store=store,
        banks=banks,
        embedder=embedder,
        tokenizers=Tokenizers(settings.tokenizers.files, settings.tokenizers.default),
        extractor=extractor,
        extraction=extraction,
        gateway=gateway,
        readiness=readiness,
        purge_seconds=settings.purge_seconds,
    )
    return ServiceServer(settings, bindings, provider)


def make_store(settings: MemorySettings, readiness: Readiness) -> Store:
    """Makes the store that the settings ask for; only its own dependencies are imported.

    Args:
        settings: The process's settings.
        readiness: Told when the store's server goes and when it comes back.
    """
    config = settings.provider
    match config.type:
        case "inline::embedded":
            from services.memory.providers.embedded.store import EmbeddedStore

            return EmbeddedStore(config)
        case "remote::pgvector":
            from services.memory.providers.postgres.store import PostgresStore

            return PostgresStore(config, readiness=readiness)

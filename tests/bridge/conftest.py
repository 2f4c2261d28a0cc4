"""Real parts that the bridge's tests ask for by name."""

from tests.fhir_server import fhir_server, shared_fhir_server

__all__ = ["fhir_server", "shared_fhir_server"]

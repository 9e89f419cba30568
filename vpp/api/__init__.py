"""The HTTP door: the stages of the service under ``/api/v1``, described by OpenAPI."""

from vpp.api.app import create_app
from vpp.api.facade import CapacityRow, Quote, ServiceFacade
from vpp.api.server import serve_http

__all__ = ["CapacityRow", "Quote", "ServiceFacade", "create_app", "serve_http"]

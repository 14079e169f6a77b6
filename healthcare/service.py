"""The healthcare microservice: `uvicorn healthcare.service:app`, or `espalier serve healthcare`."""

from common.serving.app import create_app

app = create_app("healthcare")

"""The manufacturing microservice: `uvicorn manufacturing.service:app`, or `espalier serve manufacturing`."""

from common.serving.app import create_app

app = create_app("manufacturing")

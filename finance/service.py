"""The finance microservice: `uvicorn finance.service:app`, or `espalier serve finance`."""

from common.serving.app import create_app

app = create_app("finance")

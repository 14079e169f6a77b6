"""A vertical as a microservice: `app.create_app`, `run.serve`."""

"""What a project and a portfolio may be configured with, as pydantic models: the project folder and every section of
configs/<name>.yaml. Nothing is computed here, and no other room is known."""

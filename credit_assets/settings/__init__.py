"""The settings of a project and a portfolio, as pydantic models: the project folder and every section of
configs/<name>.yaml. Nothing is computed here, and no other room is imported."""

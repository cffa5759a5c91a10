"""The settings of a project and a portfolio, as pydantic models: the project folder and every section of
configs/<name>.yaml. Settings compute nothing and import no other room."""

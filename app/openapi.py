"""The API's description in OpenAPI 3.1, made from the declared inputs and the glossary."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from app.calculations.inputs import Input
from app.glossary import serving
from app.glossary.planning import PLANNING_KEYS
from app.glossary.sensitivity import SENSITIVITY_KEYS
from app.glossary.serving import Key
from app.glossary.training import TRAINING_KEYS
from app.planning import PLANNING_INPUTS
from app.scenarios import ALL_INPUTS
from app.training_scenarios import ALL_TRAINING_INPUTS
from app.version import APP_VERSION

JSON_TYPES = {"integer": "integer", "number": "number", "flag": "boolean"}


def input_schema(declared: Input) -> dict[str, Any]:
    """An input: its own type, the same as text, or null for the default."""
    own = [JSON_TYPES[declared.kind]] if declared.kind in JSON_TYPES else []
    schema: dict[str, Any] = {
        "title": declared.label,
        "description": f"{declared.help} Allowed: {declared.allowed}.",
        "type": [*own, "string", "null"],
    }
    if declared.choices:
        schema["enum"] = [*(value for value, _ in declared.choices), "", None]
    if declared.kind in ("integer", "number"):
        schema |= {"minimum": declared.minimum, "maximum": declared.maximum}
    if declared.default is not None:
        schema["default"] = declared.default
    if declared.unit:
        schema["x-unit"] = declared.unit
    return schema


def key_schema(key: Key) -> dict[str, Any]:
    """A key of the glossary without what is inside of it."""
    if key.type == "quantity":
        return {"$ref": "#/components/schemas/Quantity", "description": described(key)}
    schema: dict[str, Any] = {"description": described(key)}
    if key.type == "texts":
        return schema | {"type": "array", "items": {"type": "string"}}
    types = key.type.rstrip("?").split("|") + (["null"] if key.type.endswith("?") else [])
    return schema | {"type": types[0] if len(types) == 1 else types}


def described(key: Key) -> str:
    return f"{key.meaning} Unit: {key.unit}." if key.unit else key.meaning


def object_schema(keys: Mapping[str, Key], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The schema of an object whose keys the glossary lists with dots."""
    root: dict[str, Any] = {"type": "object"}
    for path, key in keys.items():
        *parents, name = path.split(".")
        inside = root
        for parent in parents:
            inside = inside["properties"][parent]
            inside = inside.setdefault("items", {"type": "object"}) if inside["type"] == "array" else inside
        if name == "*":
            inside["additionalProperties"] = key_schema(key)
            continue
        inside.setdefault("properties", {})[name] = key_schema(key)
        may_be_missing = name in optional or (key.type == "object?" and len(parents) > 0)
        if not may_be_missing:
            inside.setdefault("required", []).append(name)
    return root


def reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def run_schema(keys: tuple[str, ...], inputs: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    schema = object_schema({name: serving.RUN_KEYS[name] for name in keys})
    schema["properties"] |= {"inputs": inputs, "results": results}
    return schema


def answer_schema(inputs: str, results: str) -> dict[str, Any]:
    """What POST answers: the run's id, its inputs and results; whether it could not be saved."""
    schema = run_schema(("run_id", "inputs", "results"), reference(inputs), reference(results))
    schema["properties"] |= {name: key_schema(key) for name, key in serving.NOT_SAVED_KEYS.items()}
    return schema


def inputs_schema(inputs: Mapping[str, Input]) -> dict[str, Any]:
    properties = {name: input_schema(one) for name, one in inputs.items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def body(inputs: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": reference(inputs)}}}


def answered(description: str, schema: str | dict[str, Any]) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema
    return {"description": description, "content": {"application/json": {"schema": reference}}}


def refused(*statuses: int) -> dict[str, Any]:
    meanings = {
        400: "The body is not one JSON object.",
        404: "There is no such thing.",
        413: "The body is too large.",
        422: "An input is not allowed.",
    }
    return {str(status): answered(meanings[status], "Error") for status in statuses}


def named(name: str, description: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": description,
            "schema": {"type": "string"},
        }
    ]


WITH_WORK = {
    "name": "work",
    "in": "query",
    "required": False,
    "description": "1: also the key work, what the estimate is made of.",
    "schema": {"type": "string", "enum": ["0", "1", "true", "false"]},
}


def work_schema() -> dict[str, Any]:
    """The key `work`, with the rows of its steps."""
    schema: dict[str, Any] = object_schema(serving.WORK_KEYS)["properties"]["work"]
    rows = {"type": "array", "items": object_schema(serving.WORK_ROW_KEYS)}
    schema["properties"]["steps"]["additionalProperties"]["properties"] = {"rows": rows}
    return schema


def logged_run_schema() -> dict[str, Any]:
    kinds = {
        "inputs": ("Inputs", "TrainingInputs", "PlanningInputs"),
        "results": ("Results", "TrainingResults", "PlanningResults"),
    }
    either = {key: {"anyOf": [reference(name) for name in names]} for key, names in kinds.items()}
    schema = run_schema(tuple(serving.RUN_KEYS), either["inputs"], either["results"])
    schema["properties"]["work"] = work_schema()
    return schema


def listed(name: str, schema: str) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{schema}"}}
    return {"type": "object", "required": [name], "properties": {name: items}}


@cache
def document() -> dict[str, Any]:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "LLM Infrastructure Scaling Calculator",
            "version": APP_VERSION,
            "description": "Memory, speed, energy and cost of serving and training large language models.",
        },
        "servers": [{"url": "/api/v1"}],
        "paths": {
            "/estimate": {
                "post": {
                    "operationId": "estimate",
                    "summary": "Estimate a serving scenario and log the run.",
                    "requestBody": body("Inputs"),
                    "responses": {"200": answered("The estimate.", "Estimated"), **refused(400, 413, 422)},
                }
            },
            "/train": {
                "post": {
                    "operationId": "train",
                    "summary": "Estimate a training run and log it.",
                    "requestBody": body("TrainingInputs"),
                    "responses": {"200": answered("The answer.", "Trained"), **refused(400, 413, 422)},
                }
            },
            "/plan": {
                "post": {
                    "operationId": "plan",
                    "summary": "Find what to buy for a load, and log the run.",
                    "requestBody": body("PlanningInputs"),
                    "responses": {"200": answered("The answer.", "Planned"), **refused(400, 413, 422)},
                }
            },
            "/sensitivity": {
                "post": {
                    "operationId": "sensitivity",
                    "summary": "What moves the answer to a serving question most; nothing is logged.",
                    "requestBody": body("Inputs"),
                    "responses": {"200": answered("Each input moved.", "Sensitivity"), **refused(400, 413, 422)},
                }
            },
            "/runs/{run_id}": {
                "get": {
                    "operationId": "run",
                    "summary": "A logged run.",
                    "parameters": [*named("run_id", serving.RUN_KEYS["run_id"].meaning), WITH_WORK],
                    "responses": {"200": answered("The run.", "Run"), **refused(404, 422)},
                }
            },
            "/models": {
                "get": {
                    "operationId": "models",
                    "summary": "The models of the catalogue.",
                    "responses": {"200": answered("All models.", listed("models", "ModelRow"))},
                }
            },
            "/models/{name}": {
                "get": {
                    "operationId": "model",
                    "summary": "Everything known about a model.",
                    "parameters": named("name", "A name or an alias of the list; it may hold a slash."),
                    "responses": {"200": answered("The model.", "Model"), **refused(404)},
                }
            },
            "/gpus": {
                "get": {
                    "operationId": "gpus",
                    "summary": "The accelerators of the catalogue.",
                    "responses": {"200": answered("All accelerators.", listed("gpus", "Gpu"))},
                }
            },
            "/gpus/{name}": {
                "get": {
                    "operationId": "gpu",
                    "summary": "Everything known about an accelerator.",
                    "parameters": named("name", "A name of the list."),
                    "responses": {"200": answered("The accelerator.", "Gpu"), **refused(404)},
                }
            },
            "/openapi.json": {
                "get": {
                    "operationId": "description",
                    "summary": "This description.",
                    "responses": {"200": answered("The description.", {"type": "object"})},
                }
            },
        },
        "components": {
            "schemas": {
                "Inputs": inputs_schema(ALL_INPUTS),
                "TrainingInputs": inputs_schema(ALL_TRAINING_INPUTS),
                "PlanningInputs": inputs_schema(PLANNING_INPUTS),
                "Estimated": answer_schema("Inputs", "Results"),
                "Trained": answer_schema("TrainingInputs", "TrainingResults"),
                "Planned": answer_schema("PlanningInputs", "PlanningResults"),
                "Sensitivity": object_schema(SENSITIVITY_KEYS),
                "Run": logged_run_schema(),
                "Results": object_schema(serving.RESULT_KEYS),
                "TrainingResults": object_schema(TRAINING_KEYS),
                "PlanningResults": object_schema(PLANNING_KEYS),
                "Quantity": {
                    "type": "object",
                    "description": "A value and its range; null where it is not known.",
                    "required": ["value", "low", "high"],
                    "properties": {name: {"type": ["number", "null"]} for name in ("value", "low", "high")},
                },
                "ModelRow": object_schema(serving.MODEL_ROW_KEYS),
                "Model": object_schema(serving.MODEL_KEYS),
                "Gpu": object_schema(serving.GPU_KEYS),
                "Error": object_schema(serving.ERROR_KEYS),
            }
        },
    }

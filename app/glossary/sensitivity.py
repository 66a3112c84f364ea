"""Every key of an answer about what moves an estimate: its type, unit and meaning. As in `serving.py`."""

from __future__ import annotations

from app.glossary.serving import Key

SENSITIVITY_KEYS = {
    "base": Key("object", "", "Number -> its value before anything is moved; a number that is not known is left out."),
    "base.*": Key("number", "", "In the unit of the key of the results."),
    "levers": Key("array", "", "The inputs that were moved, each by itself."),
    "levers.name": Key("string", "", "The input, or gpu_bandwidth, gpu_peak, gpu_memory for the datasheet."),
    "levers.label": Key("string", "", "What it is called."),
    "levers.unit": Key("string", "", "Its unit."),
    "levers.value": Key("string", "", "Its present value."),
    "levers.outcomes": Key("array", "", "Other values and what comes of them."),
    "levers.outcomes.value": Key("string", "", "The other value."),
    "levers.outcomes.fits": Key("boolean", "", "Whether the model still fits."),
    "levers.outcomes.metrics": Key("object", "", "Number -> its value then; empty where it does not run."),
    "levers.outcomes.metrics.*": Key("number", "", "In the unit of the key of the results."),
    "levers.outcomes.problem": Key("string", "", "Why nothing comes of it; empty where something does."),
    "strongest": Key("object", "", "Number -> the names of the levers that move it, the strongest first."),
    "strongest.*": Key("texts", "", "Names of levers."),
}

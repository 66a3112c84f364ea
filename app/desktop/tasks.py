"""The tasks of the window, by the kind of their runs, in the order of their tabs."""

from __future__ import annotations

from app.desktop import plan, serve, train

TASKS = {task.kind: task for task in (serve.TASK, train.TASK, plan.TASK)}

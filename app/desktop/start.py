"""The window of `python -m app desktop`: opened, or refused in one line. Tk is loaded only here and beside it."""

from __future__ import annotations

from app.calculations.errors import InvalidInput
from app.history.run_log import RunLog

NO_TKINTER = "The window needs tkinter, which this Python does not have."
GET_TKINTER = "a Python with Tk; on Debian and Ubuntu: apt-get install python3-tk"
NO_SCREEN = "There is no screen to open the window on"
GET_SCREEN = "a graphical session, or DISPLAY set to one; without one, `estimate` and `serve` do the same"


def open_window(log: RunLog) -> None:
    """Show the window until it is closed; its runs go to `log`. InvalidInput without tkinter or a screen."""
    try:
        import tkinter
    except ImportError:
        raise InvalidInput("", NO_TKINTER, GET_TKINTER) from None
    from app.desktop import theme, window

    theme.sharpen()
    try:
        root = tkinter.Tk(className="Llm-scaling-calculator")
    except tkinter.TclError as error:
        raise InvalidInput("DISPLAY", f"{NO_SCREEN}: {error}.", GET_SCREEN) from None
    window.Window(root, log)
    root.mainloop()

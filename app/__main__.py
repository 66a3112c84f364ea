"""python -m app"""

from app.command_line.main import main

if __name__ == "__main__":
    main(prog_name="python -m app")

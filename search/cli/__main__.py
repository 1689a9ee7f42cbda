"""``python -m search.cli``: the command line without the installed script."""

from search.cli.app import main

if __name__ == "__main__":
    main()

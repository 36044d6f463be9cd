"""The report of a run, one HTML page: `contents.py` gathers what its folder holds, `page.py` writes it as a page."""

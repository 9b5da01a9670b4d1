"""Reports: a results folder as one HTML file that needs nothing but a browser.

    from alchemlip.reporting import write_report
    write_report("transmute-CsPbI3", "report.html")

reading.py      the files of a folder, read and never written, whatever the run's status
content.py      what a report says, as plain data
statics.py, scans.py, alloys.py, designs.py, freeenergies.py, concentrations.py, campaign.py
                what each kind of calculation says
figures.py, switching_figures.py, window_figures.py, structure_view.py
                plots as plain Plotly dictionaries
composing.py    all of it, and what was run
page.py         the content as HTML
"""

from __future__ import annotations

from alchemlip.reporting.page import write_report

__all__ = ["write_report"]

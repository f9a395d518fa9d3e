"""Reports as HTML pages that need no network and no script, and can be printed.

One skeleton (`templates/page.html`), one style sheet, one module that draws SVG. A report takes
facts or results that are already computed; nothing is measured or decided here.
"""

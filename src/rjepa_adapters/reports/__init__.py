"""Reports as HTML pages that need no network: one skeleton, one style sheet, one SVG module."""

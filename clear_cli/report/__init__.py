"""What was found, to look at: one model of the diagnostics document, rendered as a page and as Markdown."""

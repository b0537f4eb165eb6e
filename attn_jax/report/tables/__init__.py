"""The tables of the page: what they hold, and how they are written as CSV, Markdown and LaTeX."""

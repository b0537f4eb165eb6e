"""The figures of the page, each as SVG, PNG and the CSV it was drawn from. Only files in here import matplotlib."""

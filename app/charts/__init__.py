"""Charts: results -> Plotly figures as plain dicts. No Plotly is needed to make them."""

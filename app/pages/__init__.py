"""What stands on each page, as plain data for its template. The views are in app/blueprints."""

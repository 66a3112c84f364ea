"""Every key of an answer: type, unit, meaning. The API, the CSV and the pages read it."""

"""From load and goals to accelerators, layouts and cost: every candidate weighed, ranked, and why the others lose."""

"""What starts a plan: commands, manifests and configurations, each line explained."""

"""The version of the application, readable without loading anything else. Each logged run carries it."""

APP_VERSION = "0.1.0"

"""Widgets: thin ipywidgets and anywidget views on the view models."""

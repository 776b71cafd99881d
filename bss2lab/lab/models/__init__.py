"""View models: the state behind each widget, in plain Python. None of them imports Jupyter or a plotting library."""

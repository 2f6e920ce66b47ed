"""``mmkit play``: a page in the browser to try a saved model on, made from its spec with Gradio."""

"""How is a model asked without torch: by its exported graph?"""

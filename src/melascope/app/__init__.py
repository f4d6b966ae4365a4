"""How does a person try one picture on a trained run: a local page, that asks nobody else and keeps nothing?"""

"""How does a program on another machine ask a trained run, and what holds when many ask at once?"""

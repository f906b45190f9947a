"""Rotation: the engines behind a balancer are replaced one after another, and no request is lost."""

"""Temperatures and thresholds, fitted to the outputs of trained models."""

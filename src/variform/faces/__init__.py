"""Faces: the command line, and a trained model as one object; `variform.estimator` is the one for scikit-learn."""

"""From a PD to a decision: policy, scorecard points, bands and reasons, the same for a batch and for one request."""

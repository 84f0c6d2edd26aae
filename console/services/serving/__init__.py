"""Whether what runs really serves: health, answers, metrics, causes, alerts. It asks engines and never changes them."""

from django.apps import AppConfig


class CurationConfig(AppConfig):
    name = "chanote.curation"
    label = "curation"

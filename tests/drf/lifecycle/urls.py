"""The paths, each with its trailing slash."""

from __future__ import annotations

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from lifecycle import views

router = SimpleRouter()
router.register("contacts", views.ContactViewSet)

api = [
    path("ping/", views.PingView.as_view()),
    path("sequences/enroll/", views.EnrollView.as_view()),
    path("sequences/api/bulk-enroll/", views.BulkEnrollView.as_view()),
    path("sequences/api/list/", views.SequenceListView.as_view()),
    path("sequences/api/contact-enrollments/", views.ContactEnrollmentsView.as_view()),
    path("contacts/api/unsubscribed-emails/", views.UnsubscribedEmailsView.as_view()),
    *router.urls,
]
urlpatterns = [path("api/v1/", include(api))]

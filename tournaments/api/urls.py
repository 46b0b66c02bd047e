from django.urls import path

from tournaments.api.views import (
    EventBatchViewSet,
    EventingViewSet,
    LeaderboardViewSet,
    StatisticsViewSet,
    TournamentViewSet,
)

urlpatterns = [
    path("eventing", EventingViewSet.as_view({"post": "receive"})),
    path("eventing/_batch", EventBatchViewSet.as_view({"post": "receive"})),
    path("tournaments/_active", TournamentViewSet.as_view({"get": "active"})),
    path("tournaments/_session", TournamentViewSet.as_view({"get": "joined"})),
    path("tournaments/<str:uid>", TournamentViewSet.as_view({"get": "retrieve"})),
    path("tournaments/<str:uid>/_join", TournamentViewSet.as_view({"post": "join"})),
    path("tournaments/<str:uid>/_result", TournamentViewSet.as_view({"get": "result"})),
    path("tournaments/<str:uid>/_leave", TournamentViewSet.as_view({"post": "leave"})),
    path(
        "leaderboards/_byTournament/<str:uid>",
        LeaderboardViewSet.as_view({"get": "by_tournament"}),
    ),
    path(
        "leaderboards/_byTournament/<str:uid>/_stream",
        LeaderboardViewSet.as_view({"get": "stream"}),
    ),
    path("statistics/_historic", StatisticsViewSet.as_view({"get": "historic"})),
]

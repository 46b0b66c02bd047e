// Keeps the table of each panel with data-live as its board is now.
"use strict";

const SHOWN = 20;
const RENEWED_MS = 45_000; // a ticket is good for a minute
const RETRY_MS = 5_000;

for (const panel of document.querySelectorAll("[data-live]")) follow(panel);

function follow(panel) {
  let source = null;
  let timer = null;

  async function connect() {
    clearTimeout(timer);
    timer = setTimeout(connect, RETRY_MS);
    let address;
    try {
      const answer = await fetch(panel.dataset.live, { credentials: "same-origin" });
      if (answer.redirected || answer.status === 404) return stop(); // signed out
      if (!answer.ok) return;
      ({ address } = await answer.json());
    } catch {
      return; // asked again when the timer says so
    }
    if (timer === null) return; // stopped meanwhile
    const next = new EventSource(address);
    next.addEventListener("standings", (event) => {
      clearTimeout(timer);
      timer = timer && setTimeout(connect, RENEWED_MS);
      if (source !== next) source?.close();
      source = next;
      show(panel, JSON.parse(event.data));
    });
    next.addEventListener("end", () => {
      stop();
      location.reload(); // with final ranks and prizes
    });
    next.addEventListener("error", () => {
      next.close(); // it would come back with a ticket that is too old
      if (source === next || source === null) {
        clearTimeout(timer);
        timer = timer && setTimeout(connect, RETRY_MS);
      }
    });
  }

  function stop() {
    clearTimeout(timer);
    timer = null;
    source?.close();
  }

  connect();
}

function show(panel, board) {
  const body = panel.querySelector("tbody");
  if (body === null) {
    if (board.leaderboard.length) location.reload(); // the first has joined
    return;
  }
  const links = new Map();
  for (const link of panel.querySelectorAll("tbody a")) links.set(link.textContent, link);
  const prizes = new Map(board.winners.map((winner) => [winner.rank, winner.reward]));
  body.replaceChildren(
    ...board.leaderboard.slice(0, SHOWN).map((standing) => {
      const prize = prizes.get(standing.rank);
      return row(
        standing.rank,
        links.get(standing.user_id)?.cloneNode(true) ?? standing.user_id,
        standing.username ?? "-",
        standing.score.toLocaleString("en-US"),
        prize === undefined ? "-" : `${prize.toLocaleString("en-US")} KCash`,
      );
    }),
  );
}

function row(...cells) {
  const made = document.createElement("tr");
  for (const cell of cells) made.appendChild(document.createElement("td")).append(cell);
  return made;
}

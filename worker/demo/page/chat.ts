// The chat: one room at a time. The connection keeps the seat through an outage, and sends what is
// written meanwhile.
import type { SendError } from "../../src/client/index.js";
import { type ChatLine, chatTextMax, nameMax } from "../covenant.js";
import { client, isLate, markMissed, sidekick } from "./connection.js";
import { element, make, onSubmit } from "./dom.js";

const lineCountMax = 500;
const nameInput = element<HTMLInputElement>("#name");
const roomInput = element<HTMLInputElement>("#room");
const roomState = element("#room-state");
const chatText = element<HTMLInputElement>("#chat-text");
const chatButton = element<HTMLButtonElement>("#chat-form button");
const chatError = element("#chat-error");
const sending = element("#sending");
const lines = element("#lines");
nameInput.maxLength = nameMax;
chatText.maxLength = chatTextMax;

interface Seat {
  readonly roomId: string;
  readonly username: string;
  readonly token: string;
  readonly leave: () => void;
}

/** The room that the user is in, connected or not. */
let seat: Seat | null = null;
let joins = 0;
let unsettled = 0;

onSubmit("#join-form", async () => {
  const roomId = roomInput.value.trim();
  const username = nameInput.value.trim();
  if (!roomId || !username) return;
  seat?.leave();
  seat = null;
  lines.replaceChildren();
  chatError.textContent = "";
  showRoom(`Joining ${roomId}…`);
  const join = ++joins;
  const connected = await client.connect("chat", { roomId }, { username });
  if (join !== joins) return; // the user has joined another room meanwhile
  if (!connected.success) return showLeft(connected.error.message);
  const { token } = connected;
  const leave = await client.subscribe("chat", { roomId }, token, showLine);
  seat = { roomId, username, token, leave };
});

// --- what the connection tells ---

sidekick.onMessage(({ type, params }: { type: string; params?: { roomId: string } }) => {
  if (type !== "subscribed" || !seat || params?.roomId !== seat.roomId) return;
  showRoom(`You are ${seat.username} in ${seat.roomId}.`, true);
  // Only after the Join button: focus must not move while someone types a todo during a reconnect.
  if (element("#join-form").contains(document.activeElement)) chatText.focus();
});

sidekick.on("state", ({ name }) => {
  if (seat && name !== "live") showRoom(`Rejoining ${seat.roomId} once connected.`, true);
  showSending();
});

sidekick.on("gap", ({ token }) => {
  if (token === seat?.token && lines.childElementCount > 0)
    append(make("li", "Messages may be missing here.", "gap"));
});

sidekick.on("channelLost", ({ token, error }) => {
  if (token === seat?.token) showLeft(`You are no longer in ${seat.roomId}: ${error.message}`);
});

sidekick.on("problem", ({ message }) => void (chatError.textContent = message));

// --- what the user sees ---

function showLeft(reason: string): void {
  seat?.leave();
  seat = null;
  chatError.textContent = reason;
  showRoom("Not in a room.");
}

/** @param isSeated the user may write; the client sends later what is written while offline */
function showRoom(text: string, isSeated = false): void {
  roomState.textContent = text;
  chatText.disabled = chatButton.disabled = !isSeated;
}

function showLine({ username, text, at }: ChatLine): void {
  const line = make("li");
  const time = make("time", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = at.toISOString();
  line.append(time, make("b", username), make("span", text));
  append(line);
  if (isLate(at)) markMissed("message", line);
}

function append(line: HTMLElement): void {
  lines.append(line);
  while (lines.childElementCount > lineCountMax) lines.firstElementChild!.remove();
  lines.scrollTop = lines.scrollHeight;
}

function showSending(): void {
  const isWaiting = unsettled > 0 && sidekick.state.name !== "live";
  const many = unsettled > 1 ? `${unsettled} messages wait` : "1 message waits";
  sending.textContent = isWaiting ? `${many} for the connection.` : "";
}

onSubmit("#chat-form", async () => {
  const text = chatText.value;
  if (!seat || !text.trim()) return;
  chatText.value = "";
  chatError.textContent = "";
  unsettled++;
  showSending();
  try {
    await client.send("chat", { roomId: seat.roomId }, seat.token, { text });
  } catch (error) {
    const { isUncertain, message } = error as SendError;
    chatError.textContent = isUncertain ? `“${text}” may not have arrived: ${message}` : message;
    if (!isUncertain && !chatText.value) chatText.value = text;
  } finally {
    unsettled--;
    showSending();
  }
});

// The page: two panels on one Link. Text that people typed enters the document as textContent,
// never as HTML.
import { type ChatLine, chatTextMax, nameMax, type Todo, todoTextMax } from "../covenant.js";
import { type Client, keepConnected } from "./link.js";

declare const SIDEKICK_URL: string; // set by the bundler, see site.ts
declare const COVENANT_PATH: string;

function element<E extends HTMLElement = HTMLElement>(selector: string): E {
  const found = document.querySelector<E>(selector);
  if (!found) throw new Error(`index.html has no ${selector}`);
  return found;
}

function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  text = "",
  className = "",
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function onSubmit(selector: string, act: () => Promise<void>): void {
  element<HTMLFormElement>(selector).addEventListener("submit", (event) => {
    event.preventDefault();
    void act();
  });
}

let client: Client | null = null; // null while disconnected

// --- the connection ---

const state = element("#state");
function showState(name: "connected" | "lost", text: string): void {
  state.dataset["state"] = name;
  state.textContent = text;
}

keepConnected(new URL(COVENANT_PATH, location.href).href, SIDEKICK_URL, {
  onConnected(fresh) {
    client = fresh;
    showState("connected", "Connected");
    fresh.listen("getTodos", null, (result) => showTodos(fresh, result), true);
    if (wanted) void join();
  },
  onLost(retryInMs) {
    client = null;
    seat = null;
    showState(
      "lost",
      `Connection to the Sidekick lost; retrying in ${Math.ceil(retryInMs / 1000)} s…`,
    );
    showRoom(wanted ? `Rejoining ${wanted.roomId} once connected.` : "Not in a room.");
  },
  onMessage(message) {
    switch (message.type) {
      case "listening":
        // A change between the first answer and this registration was not announced to this page:
        // fetch once more.
        void fetchTodos();
        break;
      case "subscribed":
        if (message.channel === "chat" && message.params["roomId"] === wanted?.roomId) showSeated();
        break;
      case "error":
        if (client) chatError.textContent = message.error.message;
        break;
    }
  },
});

// --- todos ---

const todoText = element<HTMLInputElement>("#todo-text");
const todoError = element("#todo-error");
const todoList = element("#todos");
todoText.maxLength = todoTextMax;

type TodosResult = Awaited<ReturnType<typeof queryTodos>>;
const queryTodos = (from: Client) => from.query("getTodos", null);

async function fetchTodos(): Promise<void> {
  const asked = client;
  if (asked) showTodos(asked, await queryTodos(asked));
}

function showTodos(from: Client, result: TodosResult): void {
  if (from !== client) return; // a late answer for a closed connection
  if (!result.success) {
    todoError.textContent = result.error.message;
    return;
  }
  // Existing rows stay in place, so that keyboard focus survives changes by others; new todos are
  // always appended.
  const rows = new Map(
    [...todoList.children].map((row) => [(row as HTMLElement).dataset["id"], row]),
  );
  for (const todo of result.data) {
    const row = rows.get(todo.id) ?? todoList.appendChild(makeRow(todo));
    rows.delete(todo.id);
    updateRow(row, todo);
  }
  for (const gone of rows.values()) gone.remove();
  element("#todos-empty").hidden = result.data.length > 0;
}

function makeRow({ id, text }: Todo): Element {
  const row = make("li");
  row.dataset["id"] = id;
  const box = make("input");
  box.type = "checkbox";
  box.addEventListener(
    "change",
    () => void change((c) => c.mutate("toggleTodo", { id, done: box.checked })),
  );
  const label = make("label");
  label.append(box, make("span", text));
  const remove = make("button", "Delete");
  remove.setAttribute("aria-label", `Delete ${text}`);
  remove.addEventListener("click", () => void change((c) => c.mutate("deleteTodo", { id })));
  row.append(label, remove);
  return row;
}

function updateRow(row: Element, { done }: Todo): void {
  row.querySelector("input")!.checked = done;
  row.querySelector("span")!.className = done ? "done" : "";
}

/**
 * Returns true if the change was made; otherwise the page shows the reason and the server's list.
 */
async function change(
  mutate: (c: Client) => Promise<{ success: boolean; error: { message: string } | null }>,
): Promise<boolean> {
  if (!client) {
    todoError.textContent = "Not connected yet: please try again in a moment.";
    return false;
  }
  const result = await mutate(client);
  todoError.textContent = result.error?.message ?? "";
  if (!result.success) void fetchTodos();
  return result.success;
}

onSubmit("#todo-form", async () => {
  const text = todoText.value.trim();
  if (!text) return;
  todoText.value = ""; // at once: text typed meanwhile belongs to the next todo
  if (!(await change((c) => c.mutate("addTodo", { text }))))
    todoText.value = `${text} ${todoText.value}`.trim();
});

// --- chat ---

const lineCountMax = 500;
const nameInput = element<HTMLInputElement>("#name");
const roomInput = element<HTMLInputElement>("#room");
const chatText = element<HTMLInputElement>("#chat-text");
const chatButton = element<HTMLButtonElement>("#chat-form button");
const chatError = element("#chat-error");
const lines = element("#lines");
nameInput.maxLength = nameMax;
chatText.maxLength = chatTextMax;

/** The room the user wants to be in, connected or not, and the current membership. */
let wanted: { roomId: string; username: string } | null = null;
let seat: { roomId: string; token: string; leave: () => void } | null = null;

onSubmit("#join-form", async () => {
  const roomId = roomInput.value.trim();
  const username = nameInput.value.trim();
  if (!roomId || !username) return;
  wanted = { roomId, username };
  lines.replaceChildren();
  await join();
});

async function join(): Promise<void> {
  const joining = wanted;
  const through = client;
  if (!joining || !through) return;
  seat?.leave();
  seat = null;
  chatError.textContent = "";
  showRoom(`Joining ${joining.roomId}…`);

  const { roomId, username } = joining;
  const connected = await through.connect("chat", { roomId }, { username });
  if (joining !== wanted || through !== client) return; // the user or the connection has moved on
  if (!connected.success) {
    chatError.textContent = connected.error.message;
    showRoom("Not in a room.");
    return;
  }
  const { token } = connected;
  const leave = await through.subscribe("chat", { roomId }, token, showLine);
  seat = { roomId, token, leave };
}

function showSeated(): void {
  if (!wanted) return;
  showRoom(`You are ${wanted.username} in ${wanted.roomId}.`, true);
  // Only after the Join button: focus must not move while someone types a todo during a reconnect.
  if (element("#join-form").contains(document.activeElement)) chatText.focus();
}

function showRoom(text: string, seated = false): void {
  element("#room-state").textContent = text;
  chatText.disabled = chatButton.disabled = !seated;
}

function showLine({ username, text, at }: ChatLine): void {
  const line = make("li");
  const time = make("time", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = at.toISOString();
  line.append(time, make("b", username), make("span", text));
  lines.append(line);
  while (lines.childElementCount > lineCountMax) lines.firstElementChild!.remove();
  lines.scrollTop = lines.scrollHeight;
}

onSubmit("#chat-form", async () => {
  const text = chatText.value;
  if (!client || !seat || !text.trim()) return;
  chatText.value = "";
  chatError.textContent = "";
  // A rejection repeats an error that onMessage above has already shown.
  await client.send("chat", { roomId: seat.roomId }, seat.token, { text }).catch(() => undefined);
});

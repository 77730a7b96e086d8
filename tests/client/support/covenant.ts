// A covenant that accepts everything.
const any = {
  "~standard": { version: 1, vendor: "test", validate: (value: unknown) => ({ value }) },
};

export const covenant = {
  procedures: {
    query: { type: "query", input: any, output: any },
    change: { type: "mutation", input: any, output: any },
  },
  channels: {
    chat: {
      params: ["room"],
      clientMessage: any,
      serverMessage: any,
      connectionRequest: any,
      connectionContext: any,
    },
  },
};

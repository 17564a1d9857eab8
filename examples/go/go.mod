module etcd-in-my-own-program

go 1.25.0

require (
	example.com/pulumi-external-etcd/sdk/go/external-etcd v0.0.0
	github.com/pulumi/pulumi/sdk/v3 v3.232.0
)

// `pulumi package add` writes the SDK there.
replace example.com/pulumi-external-etcd/sdk/go/external-etcd => ./sdks/external-etcd
